"""Metrics, one file each; those of plug-ins are imported from here too."""

from sure import plugins

__path__.extend(plugins.folders("metrics"))
