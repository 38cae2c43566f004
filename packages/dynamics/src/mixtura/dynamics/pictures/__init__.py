"""Pictures of reconstructed dynamics."""

from mixtura.dynamics.pictures.contexts import draw_contexts, draw_gate
from mixtura.dynamics.pictures.fields import draw_fields
from mixtura.dynamics.pictures.portraits import draw_portraits
from mixtura.dynamics.pictures.routing import RoutingHistory, animate_routing, draw_routing
from mixtura.dynamics.pictures.system import draw_system

__all__ = [
    "RoutingHistory",
    "animate_routing",
    "draw_contexts",
    "draw_fields",
    "draw_gate",
    "draw_portraits",
    "draw_routing",
    "draw_system",
]
