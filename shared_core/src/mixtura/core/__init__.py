"""The shared Mixture-of-Experts core: a routing decision is a value."""

from mixtura.core.configuration import ConfigError, configurable, from_config, to_config

__all__ = ["ConfigError", "configurable", "from_config", "to_config"]
