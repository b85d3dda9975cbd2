"""What a model version is made of: the file itself and everything that explains it.

Facts that cannot be found later are written down with the success of the step (``facts``). The
directory is put together from them at its first use (``contents``), checked, and kept for ever
(``directories``): the same version always has the same bytes, whatever daemon serves it.
"""
