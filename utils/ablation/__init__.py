"""What each option of the training changes: `python3 -m utils.ablation`."""
