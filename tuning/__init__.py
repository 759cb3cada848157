"""Search spaces, one per recipe, same folder and file name; each samples a Config of its recipe."""
