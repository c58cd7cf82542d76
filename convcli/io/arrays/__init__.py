"""Arrays that are not pictures: .npy, .npz, text, raw, NIfTI and WAV."""
