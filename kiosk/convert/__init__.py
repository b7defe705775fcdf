"""Third parties' weights made into files that the kiosk runs; needs the `convert` extra.

Nothing but `kiosk models convert` and the tools imports this room, and a kiosk in a shop never does.
"""
