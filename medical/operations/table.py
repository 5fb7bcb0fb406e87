"""What a person may ask for of scans, by name."""

from medical.operations.audit_mri_dataset import AuditMRIDataset
from medical.operations.fill_mri_lesions import FillMRILesions
from medical.operations.find_mri_anomalies import FindMRIAnomalies
from medical.operations.inpaint_mri import InpaintMRI
from medical.operations.insert_mri_lesions import InsertMRILesions
from medical.operations.segment_mri import SegmentMRI
from medical.operations.strip_mri_skull import StripMRISkull
from medical.operations.super_resolve_mri import SuperResolveMRI

OPERATIONS = {
    "super_resolve_mri": SuperResolveMRI(),
    "insert_mri_lesions": InsertMRILesions(),
    "fill_mri_lesions": FillMRILesions(),
    "inpaint_mri": InpaintMRI(),
    "strip_mri_skull": StripMRISkull(),
    "segment_mri": SegmentMRI(),
    "find_mri_anomalies": FindMRIAnomalies(),
    "audit_mri_dataset": AuditMRIDataset(),
}
