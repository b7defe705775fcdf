"""Who is enrolled on this kiosk: templates, the search among them, and the sealed file that keeps them."""
