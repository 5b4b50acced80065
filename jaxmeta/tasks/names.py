"""temporary"""
def class_names(task): return None
def episode_classes(task, key): return None
