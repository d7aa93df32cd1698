"""Billing systems: what becomes of the invoices that targets made there, and of usage that was thrown away."""
