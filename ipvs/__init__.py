"""The ipvs mode: virtual servers of the kernel's IPVS for Services, with companion rules for what IPVS itself does not decide."""
