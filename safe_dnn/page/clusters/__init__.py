"""The tab Root cause clusters: cards, the RCC at hand, its note, the map, weak spots, earlier runs."""
