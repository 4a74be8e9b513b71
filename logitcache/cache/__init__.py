"""All that is done with a finished cache. ``Cache`` opens one."""

from logitcache.cache.cache import Block as Block
from logitcache.cache.cache import Cache as Cache
from logitcache.cache.cache import Fault as Fault
