"""Booking and membership systems: bookings become events, people become drafts."""
