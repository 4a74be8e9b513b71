"""Terms of a loss, one file each; :mod:`logitcache.config.terms` names them."""
