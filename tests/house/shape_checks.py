"""The type checker the tests run under: shapes and types are checked at every call.

An int may stand where a float is asked for, as PEP 484 has it.
"""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
