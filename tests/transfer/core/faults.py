"""How messages say what is wrong in a YAML file."""

import re

FAULT = re.compile(
    r"expected .*(received|bytes)|: unknown key; |: missing; |not valid YAML: |has no source; ", re.DOTALL
)
