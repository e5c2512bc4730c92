"""The webhooks: URLs that are told how studies end."""
