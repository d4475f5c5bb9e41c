"""Teaching the models that tell whether one answer serves two questions."""
