"""The training step on any accelerator that XLA drives: out of TensorFlow and back.

train_SRWGAN.py --export-step FOLDER       `export.py`: a folder with
                                             the step of each phase as StableHLO     `program.py`, `stablehlo.py`
                                             the start values of its variables       `state.py`
                                             the photographs as one file of pixels   `packing.py`
utils/portable_run.py FOLDER --output OUT  trains with it; needs JAX and NumPy, none of this code
train_SRWGAN.py --import-state OUT         `importing.py`: the trained state as a run's checkpoint
"""

FORMAT = 1  # of the folder and of a state; utils/portable_run.py reads this one
TEACHER = "teacher.npz"  # of a student: its teacher's weights, in the export and, where another was given, in OUT
PIXELS, INDEX = "photographs.bin", "photographs.json"  # of photographs, or of pairs of crops
