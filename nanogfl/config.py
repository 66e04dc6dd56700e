"""Every knob of training: frozen dataclasses. A default is written here once; a YAML states what differs from it."""

import re
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from nanogfl.contract.detections import Selection
from nanogfl.contract.input_spec import InputSpec

_FORBID = {"extra": "forbid"}  # an unknown key is an error

Activation = Literal["relu", "leaky_relu"]

Part = Literal[
    "backbone",
    "backbone.stem",
    "backbone.stage1",
    "backbone.stage2",
    "backbone.stage3",
    "backbone.stage4",
    "backbone.statistics",
    "neck",
    "head",
    "head.towers",
]
"""What can be frozen. backbone.stage1: ResNet's stage of stride 4, which ShuffleNetV2 has not; stages 2 to 4 have the
strides 8 to 32 in both. backbone.statistics: means and variances of the backbone's batch norms, whose scales and shifts
are trained. head.towers: the head without its last convolutions, the outputs"""

# A path, or nothing: "none" on the command line, null or none in a YAML.
OptionalPath = Annotated[str | None, BeforeValidator(lambda value: None if value == "none" else value)]
OptionalNumber = Annotated[float | None, BeforeValidator(lambda value: None if value == "none" else value)]

# A bare `off` is false in YAML.
CacheKind = Annotated[
    Literal["memmap", "memory", "device", "off"], BeforeValidator(lambda value: "off" if value is False else value)
]


def _require_at_least(config: Any, least: float, *names: str) -> None:
    for name in names:
        if not getattr(config, name) >= least:  # true of NaN, too
            raise ValueError(f"{name} must be at least {least}, got {getattr(config, name)}")


def _require_at_most(config: Any, most: float, *names: str) -> None:
    """Far above what anybody trains: it keeps a file of a stranger's from filling the memory."""
    for name in names:
        if getattr(config, name) > most:
            raise ValueError(f"{name} must be at most {most}, got {getattr(config, name)}")


@dataclass(frozen=True)
class BackboneConfig:
    """ShuffleNetV2 (arXiv:1807.11164) or ResNet (arXiv:1512.03385), features at strides 8, 16, 32."""

    kind: Literal["shufflenetv2", "resnet18", "resnet34", "resnet50", "resnet101"] = field(
        default="shufflenetv2", kw_only=True
    )
    width: Literal["0.5x", "1.0x", "1.5x"] = "1.0x"
    """of shufflenetv2 alone"""

    # Where a training starts. Only its start reads these keys: they are no part of what the model is, so models are
    # compared without them, and building, resuming, evaluating and exporting never look for the file.
    weights: OptionalPath = field(default=None, compare=False)
    """state dict with torchvision's names: a path or a URL (http, https, file); the classifier (conv5, fc) is left"""
    weights_sha256: str | None = field(default=None, compare=False)
    """64 hex digits that the file must have; else a URL's name such as shufflenetv2_x1-5666bf0f80.pth gives some"""
    weights_order: Literal["bgr", "rgb"] = field(default="bgr", compare=False)
    """channels that the file was trained on; rgb: its first convolution is flipped, which with the default
    model.input.mean and std is exactly the preprocessing of torchvision's ImageNet files. The input stays ours (BGR,
    model.input); for a file trained on another mean and std set those, or let fine-tuning adapt"""

    __pydantic_config__ = _FORBID

    def __post_init__(self) -> None:
        if self.weights_sha256 is not None and not re.fullmatch("[0-9a-f]{64}", self.weights_sha256):
            raise ValueError(f"weights_sha256 must be 64 hex digits (0-9, a-f), got {self.weights_sha256!r}")
        if self.kind != "shufflenetv2" and self.width != "1.0x":
            raise ValueError(f"width is of shufflenetv2 alone, kind is {self.kind}: leave width out, got {self.width}")

    @property
    def title(self) -> str:
        """For people: ShuffleNetV2 1.0x, ResNet-50."""
        return f"ShuffleNetV2 {self.width}" if self.kind == "shufflenetv2" else self.kind.replace("resnet", "ResNet-")


@dataclass(frozen=True)
class NeckConfig:
    """Mixes the backbone's levels to equal channel counts."""

    kind: Literal["pan", "ghost_pan", "fpn"] = "ghost_pan"
    """pan: 1x1 laterals and sums (NanoDet-m); ghost_pan: concatenation and ghost blocks (NanoDet-Plus); fpn: the
    feature pyramid of strides 8 to 128 (RetinaNet, ATSS, GFL), which has 256 channels there"""
    channels: int = 96
    """of every level"""
    extra_level: bool = True
    """ghost_pan only: a fourth level at stride 64"""
    p6_from: Literal["p5", "c5"] = "p5"
    """fpn only: what the level of stride 64 is made of. p5: the neck's level below it (ATSS, GFL); c5: the backbone's
    last feature, and a ReLU before the level of stride 128 (RetinaNet)"""

    __pydantic_config__ = _FORBID

    def __post_init__(self) -> None:
        if self.channels < 8 or self.channels % 2:
            raise ValueError(f"channels must be even and at least 8, got {self.channels}")
        _require_at_most(self, 1024, "channels")
        if self.kind == "pan" and self.extra_level:
            raise ValueError("kind pan has three levels: set extra_level to false, or kind to ghost_pan")
        if self.kind == "fpn" and self.extra_level:
            raise ValueError("kind fpn has five levels, strides 8 to 128, and no other: set extra_level to false")
        if self.kind != "fpn" and self.p6_from != "p5":
            raise ValueError(f"p6_from is of kind fpn alone, kind is {self.kind}: leave p6_from out")


Box = Literal["dirac", "gaussian", "general", "general+dfl", "deltas"]
Quality = Literal["none", "centerness", "iou", "centerness-guided", "iou-guided", "joint"]


@dataclass(frozen=True)
class HeadConfig:
    """The GFL head (arXiv:2006.04388): class logits and, for each box side, what `box` says."""

    kind: Literal["per_level", "shared"] = field(default="per_level", kw_only=True)
    """per_level: a tower of depthwise-separable convolutions for every level, from which classes and box come
    (NanoDet); shared: a tower of dense 3x3 convolutions with group norm for the classes and one for the box, both
    shared by the levels, whose boxes differ by a learned scale (the paper's)"""
    box: Box = field(default="general+dfl", kw_only=True)
    """what is known of a box side (GFL, table 2a). dirac: its distance; gaussian: mean and standard deviation;
    general: a distribution of any shape, learned from its expectation alone; general+dfl: and by the distribution
    focal loss. deltas: RetinaNet's four offsets from each of nine anchors a point instead"""
    quality: Quality = field(default="joint", kw_only=True)
    """how well a box fits, and where it enters (GFL, table 1a). joint: the class learns it (loss.classification qfl,
    eqfl); none: nowhere; centerness, iou: an output of its own learns it and multiplies the score; centerness-guided,
    iou-guided: it weighs a positive's classification loss (all but joint: loss.classification fl, efl). With
    loss.assigner tal its normalised metric takes the place of the IoU"""
    dgqp: bool = field(default=False, kw_only=True)
    """the distribution-guided quality predictor of GFL V2 (arXiv:2011.12885), whose answer multiplies the classes"""
    dgqp_top: int = field(default=4, kw_only=True)
    """k: it looks at the k most probable bins of every side, and at their mean"""
    dgqp_hidden: int = field(default=64, kw_only=True)
    """of its hidden layer"""
    norm: Literal["group", "none"] = field(default="group", kw_only=True)
    """of kind shared's towers: in 32 groups, or the most that divide 32 and the channels and leave a group two of them;
    none in RetinaNet"""
    anchor_size: float = field(default=4.0, kw_only=True)
    """of box deltas: side of the smallest of the three square anchors in strides"""
    convs: int = 2
    """convolutions in a tower; 4 in the paper"""
    kernel: int = 5
    """of the depthwise part, per_level alone"""
    reg_max: int = 7
    """n: a distribution has n + 1 bins; of box general and general+dfl"""
    bin_width: float = field(default=1.0, kw_only=True)
    """delta: strides from a bin to the next, so that a distribution reaches n * delta strides"""
    point_offset: float = 0.5
    """grid points lie at (x + point_offset) * stride"""
    prior: float = field(default=0.01, compare=False)
    """probability that every class starts at everywhere; 0.001 with loss.classification efl. Only a training's start
    reads it"""

    __pydantic_config__ = _FORBID

    def __post_init__(self) -> None:
        if not 0 < self.prior < 1:
            raise ValueError(f"prior must lie between 0 and 1, got {self.prior}")
        if self.convs < 1 or self.kernel not in (1, 3, 5, 7) or self.reg_max < 1:
            raise ValueError(
                "convs and reg_max must be at least 1 and kernel one of 1, 3, 5, 7,"
                f" got convs {self.convs}, reg_max {self.reg_max}, kernel {self.kernel}"
            )
        _require_at_most(self, 16, "convs")
        _require_at_most(self, 256, "reg_max")
        _require_at_most(self, 4096, "dgqp_hidden")
        for name in ("bin_width", "anchor_size"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be a positive number of strides, got {getattr(self, name)}")
        if self.kind == "shared" and self.kernel != 5:
            raise ValueError(f"kernel is of kind per_level alone, shared has 3x3: leave kernel out, got {self.kernel}")
        if self.kind == "per_level" and self.norm != "group":
            raise ValueError("norm is of kind shared alone, per_level has batch norm: leave norm out")
        self._check_dgqp()
        if not self.bins and self.bin_width != 1:
            raise ValueError(f"bin_width is of distributions, box {self.box} has none: leave bin_width out")
        if self.box != "deltas" and self.anchor_size != 4:
            raise ValueError(
                f"anchor_size is of box deltas alone, box is {self.box}: leave anchor_size out"
                " (loss.atss_anchor is the anchor of ATSS)"
            )
        if self.box == "deltas" and (self.kind != "shared" or self.quality != "none"):
            raise ValueError(
                "box deltas is RetinaNet, whose anchors share two towers and know no quality: set kind to shared and"
                f" quality to none, got {self.kind} and {self.quality}"
            )

    def _check_dgqp(self) -> None:
        if not self.dgqp:
            return
        if not self.bins:
            raise ValueError(
                f"dgqp looks at the distributions of a box, and box {self.box} has none: set box to general+dfl"
            )
        if self.quality != "joint":
            raise ValueError(
                "dgqp multiplies class and quality to one score, which learns the quality, so that another place for it"
                f" has no meaning: set quality to joint, got {self.quality}"
            )
        if not 1 <= self.dgqp_top <= self.bins or self.dgqp_hidden < 1:
            raise ValueError(
                f"dgqp_top must lie between 1 and the {self.bins} bins and dgqp_hidden be at least 1,"
                f" got {self.dgqp_top} and {self.dgqp_hidden}"
            )

    @property
    def bins(self) -> int:
        """R + 1 of a side's distribution, 0 where it has none."""
        return self.reg_max + 1 if self.box in ("general", "general+dfl") else 0

    @property
    def side_values(self) -> int:
        """P: numbers that a box side is read from."""
        return self.bins or (2 if self.box == "gaussian" else 1)

    @property
    def has_spread(self) -> bool:
        return self.bins > 0 or self.box == "gaussian"

    @property
    def has_quality_branch(self) -> bool:
        """An output that learns the quality apart from the classes."""
        return self.quality in ("centerness", "iou")


@dataclass(frozen=True)
class ModelConfig:
    """The detector. The number of classes comes from the data."""

    input: InputSpec = field(default_factory=InputSpec)
    activation: Activation = "relu"
    """of every layer; leaky_relu has slope 0.1 and costs about 15 % on a CPU"""
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    neck: NeckConfig = field(default_factory=NeckConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    selection: Selection = field(default_factory=Selection)

    __pydantic_config__ = _FORBID


@dataclass(frozen=True)
class SplitConfig:
    """One part of a data set, relative to the data set's root."""

    annotations: str
    """COCO json, a VOC split list (ImageSets/Main/train.txt, with Annotations beside it) or YOLO's data.yaml"""
    images: str
    """the folder of its images: COCO's file_name is relative to it, YOLO's labels are found by it"""

    __pydantic_config__ = _FORBID


@dataclass(frozen=True)
class DataConfig:
    root: str = "."
    """folder of the data set, relative to where the command runs"""
    train: SplitConfig = field(default_factory=lambda: SplitConfig("train.json", "train"))
    val: SplitConfig = field(default_factory=lambda: SplitConfig("val.json", "val"))
    strict: bool = False
    """true: any bad box or file is an error; false: it is left out or mended, and listed"""
    cache: CacheKind = "memmap"
    """decoded and resized images: in a file that runs share, in memory, on the training device (which then renders
    whole batches itself), or decoded from the source every time"""
    cache_dir: OptionalPath = None
    """folder of the shared file; none: $NANOGFL_CACHE, else the user's cache folder"""
    cache_zoom: float = 1.0
    """cached images have this times the input's size: above 1, zooming in stays sharper and the cache grows"""
    memory_gb: float = 4.0
    """most that cache memory or device may take; more is an error before the first epoch"""
    workers: int = 2
    """threads that render training images; 0: rendered by the loop itself"""
    repeat_threshold: float = 0.0
    """repeat-factor sampling (arXiv:1908.03195): images of a class that fewer than this share of the images hold are
    shown more often; 0.001 for a long tail, 0: every image once an epoch"""
    min_labelled: float = 0.05
    """least share of training images with a box; fewer is an error before the first epoch"""

    __pydantic_config__ = _FORBID

    def __post_init__(self) -> None:
        _require_at_least(self, 0, "memory_gb", "workers", "repeat_threshold", "min_labelled")
        _require_at_least(self, 0.25, "cache_zoom")
        _require_at_most(self, 8, "cache_zoom")
        _require_at_most(self, 1, "repeat_threshold", "min_labelled")  # shares
        _require_at_most(self, 256, "workers")


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes of a training image; each range is drawn from uniformly."""

    scale: tuple[float, float] = (0.6, 1.4)
    """zoom, log-uniform"""
    stretch: float = 0.2
    """width over height changes by up to this share, either way"""
    translate: float = 0.2
    """shift by up to this share of the input's sides"""
    rotate: float = 0.0
    """turn by up to this many degrees, either way; a box becomes the upright hull of its turned corners"""
    shear: float = 0.0
    """slant by up to this many degrees, either way, along each axis"""
    perspective: float = 0.0
    """tilt: the scale at two opposite sides of the picture differs by up to this share"""
    flip: float = 0.5
    """probability of a left-right flip"""
    flip_vertical: float = 0.0
    """probability of an upside-down flip"""
    brightness: float = 0.2
    """offset by up to this share of full scale"""
    contrast: float = 0.3
    """gain in 1 +- this"""
    saturation: float = 0.3
    """gain in 1 +- this"""
    mosaic: float = 0.0
    """probability that a picture is four images around a random centre"""
    mosaic_scale: tuple[float, float] = (0.5, 1.0)
    """zoom of an image within a mosaic, log-uniform, in place of `scale`"""
    mixup: float = 0.0
    """probability that another image is blended in, both with their objects"""
    copy_paste: float = 0.0
    """probability that up to three objects of other images are pasted in, as rectangles"""
    plain_end: float = 0.15
    """share of the epochs, the last ones, without mosaic, mixup and copy-paste"""
    keep_visible: float = 0.25
    """an object of which less is left inside the picture is ignored: neither object nor background"""

    __pydantic_config__ = _FORBID

    def __post_init__(self) -> None:
        for name in ("scale", "mosaic_scale"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} must be a rising pair of positive numbers, got {[low, high]}")
        _require_at_least(self, 0, "stretch", "translate", "brightness", "contrast", "saturation")
        for name, most in (("rotate", 180), ("shear", 60), ("perspective", 0.9)):
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must lie in [0, {most}], got {getattr(self, name)}")
        for name in ("flip", "flip_vertical", "keep_visible", "mosaic", "mixup", "copy_paste", "plain_end"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")


@dataclass(frozen=True)
class LossConfig:
    """Weights of arXiv:2006.04388, and the assigner: which grid points learn which object."""

    cls: float = 1.0
    """of the classification loss, whichever it is"""
    box: float = 2.0
    """of the box loss: GIoU; smooth L1 of the offsets with head.box deltas"""
    side: float = 0.25
    """of what each side learns beside it: the distribution focal loss with head.box general+dfl; the negative log
    likelihood with gaussian"""
    quality: float = 1.0
    """of the cross entropy of head.quality centerness and iou"""
    box_weight: Literal["score", "centerness", "none"] = "score"
    """what weighs a positive's losses of the box: its best class score (GFL), how central it lies (ATSS), nothing"""
    smooth_l1_beta: float = 1 / 9
    """of head.box deltas: where smooth L1 turns from a parabola into a line, in its offsets' unit"""
    beta: float = 2.0
    """exponent of the quality focal loss"""
    assigner: Literal["atss", "dsla", "tal", "max_iou"] = "atss"
    """atss: by distance and overlap of anchors (arXiv:1912.02424); dsla: by the cost of the current predictions, at the
    points inside any object of the picture, those beside the learned one included (NanoDet-Plus's own rule); tal: by
    their task-aligned metric, at the points inside the object (arXiv:2108.07755); max_iou: by the overlap of
    RetinaNet's anchors, above .5 an object, below .4 background"""
    atss_candidates: int = 9
    """points per level and object"""
    atss_anchor: float = 8.0
    """side of the anchor in strides"""
    dsla_candidates: int = 13
    """most points per object, which gets as many as the sum of its this many largest IoUs"""
    dsla_iou_weight: float = 3.0
    """of -log IoU beside the classification's cost"""
    tal_candidates: int = 13
    """points per object"""
    tal_alpha: float = 1.0
    """exponent of the score in score^alpha IoU^beta"""
    tal_beta: float = 6.0
    """exponent of the IoU"""
    assist: bool = False
    """train an auxiliary neck and head beside the detector, whose predictions assign (NanoDet-Plus's assign guidance
    module); about twelve times the detector's own work, and no part of the checkpoint's detector or the export"""
    assist_channels: int = 192
    """of the auxiliary head, which has group norm: twice the neck's in NanoDet-Plus"""
    assist_detach_epochs: int = 10
    """after this many epochs the auxiliary branch no longer changes backbone and neck"""
    classification: Literal["qfl", "fl", "efl", "eqfl"] = "qfl"
    """qfl: quality focal loss, a class learns its box's IoU; fl: focal loss (arXiv:1708.02002), it learns 1; efl and
    eqfl: those for a long tail (arXiv:2201.02593), where classes that are mostly pushed down get a larger exponent and
    weight; with them model.head.prior 0.001 and data.repeat_threshold 0.001"""
    alpha: OptionalNumber = 0.25
    """fl and efl: weight of the positives, the negatives' is 1 - alpha; none: both 1"""
    gamma: float = 2.0
    """exponent of fl; of efl and eqfl for a class in balance"""
    efl_scale: float = 8.0
    """efl and eqfl: a class without positives has the exponent gamma + efl_scale; 4 for small detectors"""

    __pydantic_config__ = _FORBID

    def __post_init__(self) -> None:
        _require_at_least(self, 0, "cls", "box", "side", "quality", "beta", "smooth_l1_beta")
        _require_at_least(self, 0, "dsla_iou_weight", "tal_alpha", "tal_beta")
        _require_at_least(self, 1, "atss_candidates", "atss_anchor", "dsla_candidates", "tal_candidates")
        if self.assist_channels < 8 or self.assist_channels % 2:
            raise ValueError(f"assist_channels must be even and at least 8, got {self.assist_channels}")
        _require_at_least(self, 0, "assist_detach_epochs", "gamma", "efl_scale")
        _require_at_most(self, 1024, "assist_channels")
        if self.alpha is not None and not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must lie in [0, 1] or be none, got {self.alpha}")
        if self.equalized and not self.gamma > 0:
            raise ValueError(f"{self.classification} weighs a class by its exponent / gamma: set gamma above 0")
        if self.assist and self.assigner in ("atss", "max_iou"):
            raise ValueError("assist guides an assigner that looks at predictions: set assigner to dsla or tal")

    @property
    def equalized(self) -> bool:
        """The classification keeps account of its classes (loss/equalized.py)."""
        return self.classification in ("efl", "eqfl")


@dataclass(frozen=True)
class TrainConfig:
    init_from: OptionalPath = None
    """one of our checkpoints, of other classes if need be: its averaged weights are kept where name and shape fit.
    Resuming ignores it"""
    freeze: tuple[Part, ...] = ()
    """parts that stay as loaded, their norms' statistics included"""
    epochs: int = 100
    batch_size: int = 16
    """of all processes together: each renders and learns an equal share of it; at most the images of an epoch"""
    accumulate: int = 1
    """batches whose gradients are averaged for one update of the weights; an epoch's at most"""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """sgd: stochastic gradient descent with momentum, which wants another lr and weight_decay (0.01 and 1e-4 for 16
    images in the papers)"""
    momentum: float = 0.9
    """of sgd"""
    lr: float = 4e-3
    """at its peak"""
    weight_decay: float = 0.05
    """not on norms and biases"""
    schedule: Literal["cosine", "flat_cosine", "step"] = "cosine"
    """after the warm-up: a cosine down from lr at once; or lr held up to half of all updates and then the cosine; or a
    tenth of the rate from each of the milestones on"""
    milestones: tuple[int, ...] = ()
    """of schedule step: after how many epochs; 8 and 11 of 12 in the papers"""
    warmup_steps: int = 100
    """updates, a fifth of all at most; linear, from a thousandth of lr"""
    final_lr: float = 0.05
    """share of lr that the cosine ends at"""
    clip_norm: float = 35.0
    """largest norm of the gradient"""
    ema_decay: float = 0.998
    """of the averaged weights, which are evaluated and exported; smaller in the first steps"""
    eval_every: int = 5
    """epochs; the last one is always evaluated"""
    save_every: float = 10.0
    """minutes between two saves within an epoch, which is all that a kill can lose; 0: after every update. The end of
    an epoch is always saved. No knob of the result"""
    patience: int = 0
    """end after this many evaluations without a better AP, counted from the first above 0 on; 0: never early"""
    seed: int = 0
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps"""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """of the forward and backward pass; weights and loss stay fp32. auto: bf16 where the GPU or the processor computes
    in it, fp16 on older GPUs, else fp32"""
    compile: bool | Literal["cuda_graphs"] = False
    """torch.compile forward, assignment and loss: minutes at the start, then faster; needs a C++ compiler on a CPU.
    cuda_graphs: replayed as CUDA graphs as well"""
    threads: int = 0
    """CPU threads of torch, in each process; 0: torch's own choice"""
    sync_batch_norm: bool = True
    """batch norms see the pictures of all processes on GPUs; on CPUs, and with false, each process its own, and the
    means and variances that are kept are averaged"""
    timeout_minutes: float = 30.0
    """the longest that a process waits for the others: more than reading all images for the first time, an evaluation
    or a save takes"""
    loggers: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = ()
    """where the figures of every epoch go besides log.jsonl; each needs its package (pip install tensorboard)"""

    __pydantic_config__ = _FORBID

    def __post_init__(self) -> None:
        _require_at_least(self, 1, "epochs", "batch_size", "accumulate", "eval_every")
        _require_at_least(self, 0, "weight_decay", "warmup_steps", "final_lr", "save_every")
        _require_at_least(self, 0, "patience", "seed", "threads")
        _require_at_most(self, 65536, "batch_size", "accumulate")
        _require_at_most(self, 1024, "threads")
        _require_at_most(self, 1_000_000, "timeout_minutes")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), got {self.momentum}")
        self._check_milestones()
        for name in ("lr", "clip_norm", "timeout_minutes"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must lie in [0, 1), got {self.ema_decay}")

    def _check_milestones(self) -> None:
        given = list(self.milestones)
        if self.schedule != "step" and given:
            raise ValueError(f"milestones are of schedule step, which is {self.schedule} here: leave out milestones")
        if self.schedule == "step" and not given:
            raise ValueError("schedule step needs milestones: after how many epochs lr falls, such as [8, 11] of 12")
        if given != sorted(set(given)) or (given and not 0 < given[0] <= given[-1] < self.epochs):
            raise ValueError(f"milestones must rise and lie between 0 and epochs ({self.epochs}), got {given}")


@dataclass(frozen=True)
class Config:
    """The whole recipe."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    __pydantic_config__ = _FORBID

    def __post_init__(self) -> None:
        head, loss = self.model.head, self.loss
        learns_quality = loss.classification in ("qfl", "eqfl")
        if learns_quality != (head.quality == "joint"):
            learned, classifications = ("a box's quality", "fl, efl") if learns_quality else ("1", "qfl, eqfl")
            raise ValueError(
                f"loss.classification {loss.classification} teaches an object's class {learned}, which does not go with"
                f" model.head.quality {head.quality}: set loss.classification to one of {classifications}, or"
                f" model.head.quality to {'joint' if learns_quality else 'another than joint'}"
            )
        if (loss.assigner == "max_iou") != (head.box == "deltas"):
            raise ValueError(
                "loss.assigner max_iou and model.head.box deltas, RetinaNet's anchors, need each other,"
                f" got {loss.assigner} and {head.box}: set both or neither"
            )
        if loss.cls == 0:
            raise ValueError("loss.cls 0 leaves the classes unlearned, so that nothing is ever found: set it above 0")
        if loss.box == 0 and head.box not in ("general+dfl", "gaussian"):
            raise ValueError(f"loss.box 0 leaves model.head.box {head.box} unlearned: set it above 0")
        if head.box == "general+dfl" and loss.side == 0:
            raise ValueError("loss.side 0 leaves model.head.box general+dfl without it: set model.head.box to general")
        if head.box == "gaussian" and loss.side == 0:
            raise ValueError(
                "loss.side 0 leaves the deviations of model.head.box gaussian unlearned: set loss.side above 0, or"
                " model.head.box to dirac"
            )
        if head.has_quality_branch and loss.quality == 0:
            raise ValueError(
                f"loss.quality 0 leaves model.head.quality {head.quality} unlearned, which multiplies the scores: set"
                " loss.quality above 0, or model.head.quality to none"
            )
        if head.dgqp and loss.classification == "eqfl":
            raise ValueError(
                "loss.classification eqfl keeps account of each class's own logits, and model.head.dgqp scores their"
                " product with the quality: set classification to qfl, or dgqp to false"
            )
        if head.box == "deltas" and loss.box_weight != "none":
            raise ValueError(
                f"loss.box_weight {loss.box_weight} is of boxes around grid points, model.head.box deltas has anchors:"
                " set it to none"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists, numbers and strings: for YAML, JSON and checkpoints."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
