"""Methods, one file each. Importing this makes all of them known to PEFT, which can then read their adapters.

Those of plug-ins are imported from here too.
"""

from sure import plugins, registry

__path__.extend(plugins.folders("methods"))
registry.import_all("method")
