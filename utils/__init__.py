"""What users of SRWGAN import or run: upscaling, callbacks, optimal transport."""
