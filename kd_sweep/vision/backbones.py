"""torchvision's and timm's classifiers behind the interface of our own."""
