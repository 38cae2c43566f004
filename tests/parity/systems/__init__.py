"""One file per system, named AREA_SYSTEM.py; each registers itself with `@system("name")`."""
