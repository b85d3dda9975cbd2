"""The custom-training dialect: models, assets, training runs and versions under ``/api/v1``."""
