"""Functions of (model, inputs) that question a trained model: attacks, attributions, diagnostics."""
