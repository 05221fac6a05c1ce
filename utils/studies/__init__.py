"""Studies whose figures or pictures stand in the documents: `python3 -m utils.studies.NAME`."""
