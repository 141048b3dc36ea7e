"""Experiments: arms that are trained alike but for what is asked, and what may be concluded of them."""
