"""What a surface may ask of the engine, area by area; :mod:`trainbox_sdk.engine` joins them."""
