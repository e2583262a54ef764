"""Methods, one file each. Importing this makes all of them known to PEFT, which can then read their adapters."""

from sure import registry

registry.import_all("method")
