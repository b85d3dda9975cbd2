"""The code that trains; it runs only in the sandbox, and imports nothing of the daemon.

``main`` tells the story; ``settings`` reads the parameters, ``dataset`` the Parquet file, ``split``
holds rows back, ``space`` and ``search`` choose hyper-parameters, ``fit`` trains, ``scores``
measures, ``export`` writes the graph and proves it, ``native`` is the model it is proved against.
"""
