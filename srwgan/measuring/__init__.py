"""What results are measured by: PSNR, SSIM, LPIPS and checks for faults, on pairs of pictures."""
