"""From what was booked to what each target gets: shapes (pure), buckets, and the gatherer that turns them to items."""
