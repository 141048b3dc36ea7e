"""What a training needs of the GPU's memory, told from the model's shape alone and corrected by what was measured."""
