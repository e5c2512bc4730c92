"""A study file small enough to run in seconds: four trials and four teachers."""

TINY = """
name: tiny
data: {name: digits, image_size: 8, max_train_images: 200, max_val_images: 100}
teacher: {model: resnet8, width: 4, epochs: 2}
student: {model: resnet8, width: 4, epochs: 3}
search:
  augmentation_strength: {grid: [0.0, 0.5]}
  ensemble_size: {grid: [1, 2]}
"""
