"""Wi-Fi: sessions with their seconds and octets."""
