"""Write a CatBoost model and its pre-processing as one ONNX graph, and prove that they agree.

A library that stands alone: it needs numpy, onnx and onnxruntime, and knows nothing of the daemon.

=====================  ==========================================================================
``catboost_json``      CatBoost's JSON model, read into plain dataclasses
``ctr_tables``         target statistics of categorical features as lookup tables
``trees``              decision trees as the arrays of one TreeEnsembleRegressor
``calendar_features``  year, month, weekday, ... of epoch seconds, in integer arithmetic
``columns``            raw columns, and the model features they become
``features``           everything the trees compare, as one matrix
``graph``              a small graph builder with pinned versions
``pipeline``           ``build_onnx``: typed raw columns in, predictions out
``rows``               JSON rows in, predictions out, as the daemon words them
``session``            onnxruntime, with its telemetry switched off
``probes``             hostile rows that visit every column's weak spots
``parity``             ``check_parity``: does the graph answer what the model answers?
=====================  ==========================================================================
"""
