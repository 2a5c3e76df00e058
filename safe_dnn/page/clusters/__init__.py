"""The tab Root cause clusters: cards, the selected RCC, its note, the map, weak spots, earlier runs."""
