"""Every setting of a training run: frozen dataclasses. A default is written here once; a recipe states what differs.

Bounds of a number stand in its type, rules between settings in `__post_init__`. Constructing a dataclass in Python
checks both and raises ValueError; reading a recipe (recipe.py) checks the types as well and raises UserError.
"""

import re
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt, MultipleOf

from nanogfl.bounds import Bounded
from nanogfl.contract.detections import Selection
from nanogfl.contract.input_spec import InputSpec

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
"""What can be frozen. backbone.stage1 is ResNet's stage of stride 4, which ShuffleNetV2 does not have; stages 2 to 4
have strides 8 to 32 in both. backbone.statistics are the means and variances of the backbone's batch norms; their
scales and shifts still train. head.towers is the head without its output convolutions."""

_Whole = Annotated[int, Ge(0)]
_Count = Annotated[int, Ge(1)]
_NonNegative = Annotated[float, Ge(0)]
_Positive = Annotated[float, Gt(0)]
_Share = Annotated[float, Ge(0), Le(1)]
_BelowOne = Annotated[float, Ge(0), Lt(1)]
# Upper bounds are far above anything useful: they keep an untrusted file from filling the memory.
_Channels = Annotated[int, Ge(8), Le(1024), MultipleOf(2)]
_Blocks = Annotated[int, Ge(0), Le(64)]


@dataclass(frozen=True)
class Reads:
    """A word in a file stands for another value. (pydantic's BeforeValidator without importing pydantic.)"""

    word: str | bool | None
    value: Any

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(self._read, handler(source))

    def _read(self, given: Any) -> Any:
        return self.value if type(given) is type(self.word) and given == self.word else given


_OptionalText = Annotated[str | None, Reads("none", None)]
_OptionalShare = Annotated[_Share | None, Reads("none", None)]
CacheKind = Annotated[Literal["memmap", "memory", "device", "off"], Reads(False, "off")]  # YAML reads off as false


@dataclass(frozen=True)
class BackboneConfig(Bounded):
    """ShuffleNetV2 (arXiv:1807.11164), ResNet (arXiv:1512.03385) or SumNet: features at strides 8, 16 and 32."""

    kind: Literal["shufflenetv2", "sumnet", "resnet18", "resnet34", "resnet50", "resnet101"] = field(
        default="shufflenetv2", kw_only=True
    )
    width: Literal["0.5x", "1.0x", "1.5x"] = "1.0x"
    """shufflenetv2 only"""
    channels: tuple[_Channels, _Channels, _Channels, _Channels] = field(default=(32, 64, 128, 256), kw_only=True)
    """sumnet only: of the stages of strides 4, 8, 16 and 32"""
    blocks: tuple[_Blocks, _Blocks, _Blocks, _Blocks] = field(default=(1, 2, 6, 2), kw_only=True)
    """sumnet only: blocks of each stage"""
    expansion: Annotated[int, Ge(1), Le(8)] = field(default=2, kw_only=True)
    """sumnet only: channels inside a block relative to its own"""
    kernel: Literal[3, 5] = field(default=3, kw_only=True)
    """sumnet only: size of the depthwise convolutions"""
    down: Literal["dense", "separable"] = field(default="dense", kw_only=True)
    """sumnet only: convolutions of stride 2 before the stages of strides 8, 16 and 32"""

    # These keys say where a training starts and only its start reads them. They are not compared, because two models
    # that started differently are still the same kind of model.
    weights: _OptionalText = field(default=None, compare=False)
    """pretrained weights: path or URL (http, https, file) of a state dict with torchvision's names; its classifier
    (conv5, fc) is not used"""
    weights_sha256: str | None = field(default=None, compare=False)
    """expected SHA-256 of the file, 64 hex digits; without it the digits in a URL's name such as
    shufflenetv2_x1-5666bf0f80.pth are checked"""
    weights_order: Literal["bgr", "rgb"] = field(default="bgr", compare=False)
    """channel order that the file was trained on. With rgb its first convolution is flipped, so that the input stays
    BGR; with the default model.input.mean and std this is exactly the preprocessing of torchvision's ImageNet files"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights_sha256 is not None and not re.fullmatch("[0-9a-f]{64}", self.weights_sha256):
            raise ValueError(f"weights_sha256 must be 64 hex digits (0-9, a-f), got {self.weights_sha256!r}")
        if self.kind != "shufflenetv2" and self.width != "1.0x":
            raise ValueError(f"width is for kind shufflenetv2, kind is {self.kind}: leave width out, got {self.width}")
        if self.kind != "sumnet":
            for key in ("channels", "blocks", "expansion", "kernel", "down"):
                if getattr(self, key) != type(self).__dataclass_fields__[key].default:
                    raise ValueError(f"{key} is for kind sumnet, kind is {self.kind}: leave {key} out")
        elif self.weights is not None:
            raise ValueError("weights are torchvision's, which has no SumNet: start from train.init_from instead")

    @property
    def title(self) -> str:
        """Display name, such as ShuffleNetV2 1.0x, SumNet 32-64-128-256 or ResNet-50."""
        if self.kind == "sumnet":
            return "SumNet " + "-".join(map(str, self.channels))
        return f"ShuffleNetV2 {self.width}" if self.kind == "shufflenetv2" else self.kind.replace("resnet", "ResNet-")


@dataclass(frozen=True)
class NeckConfig(Bounded):
    """Mixes the backbone's levels and gives all of them the same number of channels."""

    kind: Literal["pan", "ghost_pan", "sum_pan", "fpn"] = "ghost_pan"
    """pan: 1x1 laterals and sums (NanoDet-m); ghost_pan: concatenation and ghost blocks (NanoDet-Plus); sum_pan: sums
    and residual blocks (SumNet); fpn: the feature pyramid of strides 8 to 128 (RetinaNet, ATSS, GFL; 256 channels in
    the papers)"""
    channels: _Channels = 96
    """of each level"""
    extra_level: bool = True
    """ghost_pan and sum_pan only: add a fourth level at stride 64"""
    p6_from: Literal["p5", "c5"] = "p5"
    """fpn only: input of the level of stride 64. p5: the neck's level of stride 32 (ATSS, GFL); c5: the backbone's last
    feature, with a ReLU before the level of stride 128 (RetinaNet)"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind == "pan" and self.extra_level:
            raise ValueError("kind pan has three levels: set extra_level to false, or kind to ghost_pan")
        if self.kind == "fpn" and self.extra_level:
            raise ValueError("kind fpn always has five levels, strides 8 to 128: set extra_level to false")
        if self.kind != "fpn" and self.p6_from != "p5":
            raise ValueError(f"p6_from is for kind fpn, kind is {self.kind}: leave p6_from out")


Box = Literal["dirac", "gaussian", "general", "general+dfl", "deltas"]
Quality = Literal["none", "centerness", "iou", "centerness-guided", "iou-guided", "joint"]


@dataclass(frozen=True)
class HeadConfig(Bounded):
    """The GFL head (arXiv:2006.04388): class logits, and for each side of the box what `box` says."""

    kind: Literal["per_level", "shared"] = field(default="per_level", kw_only=True)
    """per_level: each level has its own tower of depthwise-separable convolutions for class and box (NanoDet). shared:
    one tower of dense 3x3 convolutions for the classes and one for the box serve all levels, with a learned scale of
    the box per level (the papers)"""
    box: Box = field(default="general+dfl", kw_only=True)
    """what is predicted for a side (GFL, table 2a). dirac: its distance. gaussian: mean and standard deviation.
    general: a distribution over bins, trained through its expectation only. general+dfl: trained by the distribution
    focal loss as well. deltas: RetinaNet's four offsets from each of nine anchors per point"""
    quality: Quality = field(default="joint", kw_only=True)
    """where the quality of a box enters (GFL, table 1a). joint: the class score learns it (loss.classification qfl,
    eqfl). none: nowhere. centerness, iou: an extra output learns it and multiplies the score. centerness-guided,
    iou-guided: it weights the classification loss of a positive. All but joint need loss.classification fl or efl.
    With loss.assigner tal the assigner's normalised metric replaces the IoU"""
    dgqp: bool = field(default=False, kw_only=True)
    """add the distribution-guided quality predictor of GFL V2 (arXiv:2011.12885), which multiplies the class scores"""
    dgqp_top: _Count = field(default=4, kw_only=True)
    """k: the predictor sees the k most probable bins of each side and their mean"""
    dgqp_hidden: Annotated[int, Ge(1), Le(4096)] = field(default=64, kw_only=True)
    """width of its hidden layer"""
    norm: Literal["group", "none"] = field(default="group", kw_only=True)
    """shared only: norm of the towers. group: 32 groups, or the largest divisor of 32 and the channels that leaves two
    channels per group; none: RetinaNet"""
    anchor_size: _Positive = field(default=4.0, kw_only=True)
    """box deltas only: side of the smallest square anchor in strides"""
    convs: Annotated[int, Ge(1), Le(16)] = 2
    """convolutions per tower; 4 in the papers"""
    kernel: Literal[1, 3, 5, 7] = 5
    """per_level only: size of the depthwise convolutions"""
    reg_max: Annotated[int, Ge(1), Le(256)] = 7
    """R: a distribution has R + 1 bins; box general and general+dfl only"""
    bin_width: _Positive = field(default=1.0, kw_only=True)
    """distance between two bins in strides; a side reaches reg_max * bin_width strides"""
    point_offset: float = 0.5
    """grid points lie at (x + point_offset) * stride"""
    prior: Annotated[float, Gt(0), Lt(1)] = field(default=0.01, compare=False)
    """score of every class at the start of a training, which alone reads it; 0.001 with loss.classification efl"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernel not in (1, 3, 5, 7):
            raise ValueError(f"kernel must be 1, 3, 5 or 7, got {self.kernel}")
        if self.kind == "shared" and self.kernel != 5:
            raise ValueError(f"kernel is for kind per_level, shared has 3x3: leave kernel out, got {self.kernel}")
        if self.kind == "per_level" and self.norm != "group":
            raise ValueError("norm is for kind shared, per_level has batch norm: leave norm out")
        if self.dgqp:
            self._check_dgqp()
        if not self.bins and self.bin_width != 1:
            raise ValueError(f"bin_width is for distributions, box {self.box} has none: leave bin_width out")
        if self.box != "deltas" and self.anchor_size != 4:
            raise ValueError(
                f"anchor_size is for box deltas, box is {self.box}: leave anchor_size out (loss.atss_anchor is the"
                " anchor of ATSS)"
            )
        if self.box == "deltas" and (self.kind != "shared" or self.quality != "none"):
            raise ValueError(
                "box deltas is RetinaNet, which has shared towers and no quality: set kind to shared and quality to"
                f" none, got {self.kind} and {self.quality}"
            )

    def _check_dgqp(self) -> None:
        if not self.bins:
            raise ValueError(f"dgqp reads the distributions of a box, box {self.box} has none: set box to general+dfl")
        if self.quality != "joint":
            raise ValueError(
                "dgqp already multiplies the class score by a quality, and their product learns it: set quality to"
                f" joint, got {self.quality}"
            )
        if self.dgqp_top > self.bins:
            raise ValueError(f"dgqp_top must be at most the {self.bins} bins, got {self.dgqp_top}")

    @property
    def bins(self) -> int:
        """R + 1, the bins of a side's distribution; 0 where a box has no distributions."""
        return self.reg_max + 1 if self.box in ("general", "general+dfl") else 0

    @property
    def side_values(self) -> int:
        """P: predicted numbers per side of the box."""
        return self.bins or (2 if self.box == "gaussian" else 1)

    @property
    def has_spread(self) -> bool:
        """A box comes with a standard deviation per side."""
        return self.bins > 0 or self.box == "gaussian"

    @property
    def has_quality_branch(self) -> bool:
        """The quality is an output of its own beside the classes."""
        return self.quality in ("centerness", "iou")


@dataclass(frozen=True)
class ModelConfig(Bounded):
    """The detector. The number of classes comes from the data."""

    input: InputSpec = field(default_factory=InputSpec)
    activation: Activation = "relu"
    """of every layer; leaky_relu has slope 0.1 and costs about 15 % on a CPU"""
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    neck: NeckConfig = field(default_factory=NeckConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    selection: Selection = field(default_factory=Selection)


@dataclass(frozen=True)
class SplitConfig(Bounded):
    """One part of a data set; paths are relative to the root of the data set."""

    annotations: str
    """COCO json, a VOC split list (ImageSets/Main/train.txt, with Annotations beside it) or YOLO's data.yaml"""
    images: str
    """image folder; COCO's file_name is relative to it, and YOLO's labels are found from it"""


@dataclass(frozen=True)
class DataConfig(Bounded):
    """The data set, and how its images are read."""

    root: str = "."
    """folder of the data set, relative to the current folder"""
    train: SplitConfig = field(default_factory=lambda: SplitConfig("train.json", "train"))
    val: SplitConfig = field(default_factory=lambda: SplitConfig("val.json", "val"))
    strict: bool = False
    """true: a bad box or file is an error; false: it is repaired or skipped, and listed"""
    cache: CacheKind = "memmap"
    """decoded and resized images. memmap: in a file that runs share; memory: in memory; device: on the training device,
    which then renders whole batches; off: decoded from the source every time"""
    cache_dir: _OptionalText = None
    """folder of the shared file; none: $NANOGFL_CACHE, else the user's cache folder"""
    cache_zoom: Annotated[float, Ge(0.25), Le(8)] = 1.0
    """size of cached images relative to the input; above 1, zooming in stays sharper and the cache grows"""
    memory_gb: _NonNegative = 4.0
    """limit of cache memory and device; a data set that needs more is an error before the first epoch"""
    workers: Annotated[int, Ge(0), Le(256)] = 2
    """threads that render training images; 0: the training loop renders them"""
    repeat_threshold: _Share = 0.0
    """repeat-factor sampling (arXiv:1908.03195): images with a class that is in less than this share of the images are
    shown more often; 0.001 for a long tail, 0: every image once per epoch"""
    min_labelled: _Share = 0.05
    """least share of training images with a box; fewer is an error before the first epoch"""


@dataclass(frozen=True)
class AugmentConfig(Bounded):
    """Random changes of a training image; each is drawn uniformly from its range."""

    scale: tuple[float, float] = (0.6, 1.4)
    """zoom, log-uniform"""
    stretch: _NonNegative = 0.2
    """largest relative change of width over height, either way"""
    translate: _NonNegative = 0.2
    """largest shift relative to the sides of the input"""
    rotate: Annotated[float, Ge(0), Le(180)] = 0.0
    """largest angle in degrees, either way; a box becomes the upright hull of its turned corners"""
    shear: Annotated[float, Ge(0), Le(60)] = 0.0
    """largest angle in degrees, either way, along each axis"""
    perspective: Annotated[float, Ge(0), Le(0.9)] = 0.0
    """tilt: largest relative difference of scale between two opposite sides of the image"""
    flip: _Share = 0.5
    """probability of a left-right flip"""
    flip_vertical: _Share = 0.0
    """probability of an upside-down flip"""
    brightness: _NonNegative = 0.2
    """largest offset relative to full scale, either way"""
    contrast: _NonNegative = 0.3
    """gain in 1 +- this"""
    saturation: _NonNegative = 0.3
    """gain in 1 +- this"""
    mosaic: _Share = 0.0
    """probability that an image is made of four around a random centre"""
    mosaic_scale: tuple[float, float] = (0.5, 1.0)
    """zoom of an image within a mosaic, log-uniform, in place of `scale`"""
    mixup: _Share = 0.0
    """probability that another image is blended in, with the objects of both"""
    copy_paste: _Share = 0.0
    """probability that up to three objects of other images are pasted in, as rectangles"""
    plain_end: _Share = 0.15
    """share of the epochs, at the end, without mosaic, mixup and copy-paste: of two or more epochs at least the last,
    unless it is 0"""
    keep_visible: _Share = 0.25
    """an object with a smaller visible share is ignored: neither object nor background"""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("scale", "mosaic_scale"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} must be a rising pair of positive numbers, got {[low, high]}")


@dataclass(frozen=True)
class LossConfig(Bounded):
    """Weights of the losses (arXiv:2006.04388), and the assigner: which grid points learn which object."""

    cls: _NonNegative = 1.0
    """weight of the classification loss"""
    box: _NonNegative = 2.0
    """weight of the box loss: GIoU; with head.box deltas smooth L1 of the offsets"""
    side: _NonNegative = 0.25
    """weight of the loss per side: the distribution focal loss with head.box general+dfl; the negative log likelihood
    with gaussian"""
    quality: _NonNegative = 1.0
    """weight of the cross entropy of head.quality centerness and iou"""
    box_weight: Literal["score", "centerness", "none"] = "score"
    """what weights a positive in the box losses: its best class score (GFL), its centerness (ATSS) or nothing"""
    smooth_l1_beta: _NonNegative = 1 / 9
    """head.box deltas only: where smooth L1 turns from a parabola into a line, in units of the offsets"""
    beta: _NonNegative = 2.0
    """exponent of the quality focal loss"""
    assigner: Literal["atss", "dsla", "tal", "max_iou"] = "atss"
    """atss: by distance and overlap of anchors (arXiv:1912.02424). dsla: by the cost of the current predictions at the
    points inside any object of the image (NanoDet-Plus). tal: by a task-aligned metric of the predictions at the points
    inside the object (arXiv:2108.07755). max_iou: by the overlap of RetinaNet's anchors, an object from .5 on,
    background below .4"""
    atss_candidates: _Count = 9
    """points per level and object"""
    atss_anchor: Annotated[float, Ge(1)] = 8.0
    """side of the anchor in strides"""
    dsla_candidates: _Count = 13
    """an object gets as many points as the sum of this many of its largest IoUs"""
    dsla_iou_weight: _NonNegative = 3.0
    """weight of -log IoU in the cost"""
    tal_candidates: _Count = 13
    """points per object"""
    tal_alpha: _NonNegative = 1.0
    """exponent of the score in score^alpha IoU^beta"""
    tal_beta: _NonNegative = 6.0
    """exponent of the IoU"""
    assist: bool = False
    """train an auxiliary neck and head whose predictions assign (NanoDet-Plus's assign guidance module). It costs about
    twelve times the detector's own work and is not part of the trained detector or the export"""
    assist_channels: _Channels = 192
    """of the auxiliary head; twice the neck's in NanoDet-Plus"""
    assist_detach_epochs: _Whole = 10
    """after this many epochs the auxiliary branch no longer changes backbone and neck"""
    classification: Literal["qfl", "fl", "efl", "eqfl"] = "qfl"
    """qfl: quality focal loss, a class learns the IoU of its box. fl: focal loss (arXiv:1708.02002), a class learns 1.
    eqfl and efl: the same for a long tail (arXiv:2201.02593): classes that mostly see negatives get a larger exponent
    and weight. Use them with model.head.prior 0.001 and data.repeat_threshold 0.001"""
    alpha: _OptionalShare = 0.25
    """fl and efl only: weight of positives; negatives have 1 - alpha; none: both 1"""
    gamma: _NonNegative = 2.0
    """exponent of fl, and of efl and eqfl for a balanced class"""
    efl_scale: _NonNegative = 8.0
    """efl and eqfl only: a class without positives has the exponent gamma + efl_scale; 4 for small detectors"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.equalized and not self.gamma > 0:
            raise ValueError(f"classification {self.classification} divides by gamma: set gamma above 0")
        if self.assist and self.assigner in ("atss", "max_iou"):
            raise ValueError("assist guides an assigner that reads predictions: set assigner to dsla or tal")

    @property
    def equalized(self) -> bool:
        """The loss keeps statistics per class (loss/equalized.py)."""
        return self.classification in ("efl", "eqfl")


@dataclass(frozen=True)
class TrainConfig(Bounded):
    """How the detector is trained, and on what."""

    init_from: _OptionalText = None
    """start from a detector, of other classes if need be: its averaged weights are kept where name and shape fit. The
    path of a nanogfl checkpoint, the name of published weights (`nanogfl weights`), which are downloaded once, or
    auto: the best published weights of this network that are on this machine, else none. Ignored on resume"""
    teacher: _OptionalText = None
    """learn from this nanogfl checkpoint as well, of another model and other classes if need be; `distill` says how. It
    is read again on resume and must then be the same file"""
    freeze: tuple[Part, ...] = ()
    """parts that stay as loaded, with the statistics of their norms"""
    minutes: Annotated[float, Ge(0), Le(100_000)] = 0.0
    """length of the whole run. epochs, epoch_batches, eval_every and eval_images then follow from the speed that is
    measured at the start, and loss.assist_detach_epochs keeps its share of the epochs; 0: they are as given"""
    epochs: _Count = 100
    epoch_batches: Annotated[int, Ge(0), Le(1_000_000)] = 0
    """batches of an epoch, which takes its images from passes over the training set, one after the other; 0: one pass
    per epoch, without a last partial batch"""
    pace: tuple[tuple[int, int], ...] = ()
    """pairs (epochs done, epochs planned until then), written by train.minutes where it planned again. Learning rate
    and plain_end follow the schedule of the first plan, faster or slower"""
    batch_size: Annotated[int, Ge(1), Le(65536)] = 16
    """images per step over all processes, each of which renders and trains an equal share; at most one epoch's"""
    accumulate: Annotated[int, Ge(1), Le(65536)] = 1
    """batches whose gradients are averaged for one update; at most one epoch's"""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """sgd: stochastic gradient descent with momentum, which needs another lr and weight_decay (0.01 and 1e-4 for 16
    images in the papers)"""
    momentum: _BelowOne = 0.9
    """sgd only"""
    lr: _Positive = 4e-3
    """peak learning rate"""
    weight_decay: _NonNegative = 0.05
    """not applied to norms and biases"""
    schedule: Literal["cosine", "flat_cosine", "step"] = "cosine"
    """after the warm-up. cosine: a cosine from lr to its end; flat_cosine: lr for half of all updates, then the cosine;
    step: a tenth of the rate from each milestone on"""
    milestones: tuple[int, ...] = ()
    """schedule step only: epochs after which the rate falls; 8 and 11 of 12 in the papers"""
    warmup_steps: _Whole = 100
    """updates of linear warm-up from a thousandth of lr; at most a fifth of all updates"""
    final_lr: _NonNegative = 0.05
    """end of the cosine relative to lr"""
    clip_norm: Annotated[float, Gt(0)] = 35.0
    """largest norm of the gradient; .inf: no clipping"""
    ema_decay: _BelowOne = 0.998
    """of the averaged weights, which are evaluated and exported; smaller in the first steps"""
    eval_every: _Count = 5
    """epochs between evaluations; the last epoch is always evaluated"""
    eval_images: _Whole = 0
    """at most so many validation images per evaluation, spread evenly over the set; 0: all"""
    save_every: _NonNegative = 10.0
    """minutes between saves within an epoch, which is the most that a kill can lose; 0: after every update. The end of
    an epoch is always saved. Does not change the result"""
    patience: _Whole = 0
    """stop after this many evaluations without a better AP, counted from the first AP above 0; 0: never stop early"""
    seed: _Whole = 0
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps"""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """of forward and backward pass; weights and loss stay fp32. auto: bf16 where the GPU or the processor computes in
    it, fp16 on older GPUs, else fp32"""
    compile: Literal[False, True, "cuda_graphs"] = False
    """true: torch.compile forward, assignment and loss, which takes minutes at the start and then runs faster; on a CPU
    it needs a C++ compiler. cuda_graphs: replayed as CUDA graphs as well"""
    threads: Annotated[int, Ge(0), Le(1024)] = 0
    """CPU threads of torch per process; 0: torch decides"""
    sync_batch_norm: bool = True
    """on several GPUs batch norms see the images of all processes. On CPUs, and with false, each process has its own,
    and the stored means and variances are averaged"""
    timeout_minutes: Annotated[float, Gt(0), Le(1_000_000)] = 30.0
    """longest wait of one process for the others; must exceed the first reading of all images, an evaluation and a
    save"""
    loggers: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = ()
    """where the figures of every epoch go besides log.jsonl; each needs its package (pip install tensorboard)"""

    def __post_init__(self) -> None:
        super().__post_init__()
        given = list(self.milestones)
        if self.schedule != "step" and given:
            raise ValueError(f"milestones are for schedule step, schedule is {self.schedule}: leave milestones out")
        if self.schedule == "step" and not given:
            raise ValueError("schedule step needs milestones: the epochs after which lr falls, such as [8, 11] of 12")
        if given != sorted(set(given)) or (given and not 0 < given[0] <= given[-1] < self.epochs):
            raise ValueError(f"milestones must rise and lie between 0 and epochs ({self.epochs}), got {given}")
        if self.minutes and self.schedule == "step":
            raise ValueError(
                "minutes plans the epochs, which milestones count: set schedule to cosine or flat_cosine, or minutes to"
                " 0"
            )
        done = [0, *(pair[0] for pair in self.pace), self.epochs]
        if done != sorted(set(done)) or any(planned <= before for before, planned in self.pace):
            raise ValueError(
                f"pace must hold pairs (epochs done, more epochs planned) that rise below epochs ({self.epochs}), got"
                f" {[list(pair) for pair in self.pace]}"
            )

    def walked(self, done: int, each: int = 1) -> tuple[float, int]:
        """Where the schedule stands after `done` steps of a run with `each` steps per epoch: (position, length) in
        steps. (done, all steps) unless `pace` changes it.

        A later entry of `pace` does not change positions before it, to the bit.
        """
        if not self.pace:
            return done, self.epochs * each
        length, start, position = self.pace[0][1] * each, 0, 0.0
        for end, planned in (*self.pace, (self.epochs, self.epochs)):
            speed = (length - position) / (planned * each - start)
            if done <= end * each:
                break
            position, start = position + (end * each - start) * speed, end * each
        return position + (min(done, self.epochs * each) - start) * speed, length


@dataclass(frozen=True)
class DistillConfig(Bounded):
    """What the detector learns from train.teacher beside the objects: weights of the losses, 0 is off."""

    cls: _NonNegative = 1.0
    """weight of the quality focal loss whose targets are the teacher's scores, at all points and for the classes that
    both know"""
    side: _NonNegative = 0.1
    """weight of localization distillation (arXiv:2102.12252): the divergence from the teacher's distributions of the
    sides, weighted by the teacher's best score; both boxes need distributions"""
    side_points: Literal["positives", "all"] = "positives"
    """where the sides are taught. positives: at the points that learn an object; all: wherever the teacher's score is
    high, which includes the paper's valuable localization region"""
    temperature: Annotated[float, Ge(0.1), Le(100)] = 10.0
    """divides the logits of both distributions: above 1 the improbable bins count as well; 10 in the paper"""
    feature: _NonNegative = 0.0
    """weight of the mean squared error of the neck's levels, after a 1x1 convolution that only the training has, from
    the teacher's, each channel of which is brought to mean 0 and variance 1 over the batch"""


@dataclass(frozen=True)
class Config(Bounded):
    """The whole recipe."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)

    def __post_init__(self) -> None:
        head, loss = self.model.head, self.loss
        learns_quality = loss.classification in ("qfl", "eqfl")
        if learns_quality != (head.quality == "joint"):
            learned, classifications = ("the quality", "fl, efl") if learns_quality else ("1", "qfl, eqfl")
            raise ValueError(
                f"with loss.classification {loss.classification} a class learns {learned}, which does not fit"
                f" model.head.quality {head.quality}: set loss.classification to one of {classifications}, or"
                f" model.head.quality to {'joint' if learns_quality else 'another than joint'}"
            )
        if (loss.assigner == "max_iou") != (head.box == "deltas"):
            raise ValueError(
                "loss.assigner max_iou and model.head.box deltas (RetinaNet's anchors) need each other, got"
                f" {loss.assigner} and {head.box}: set both or neither"
            )
        if loss.cls == 0:
            raise ValueError("loss.cls 0 leaves the classes untrained: set it above 0")
        if loss.box == 0 and head.box not in ("general+dfl", "gaussian"):
            raise ValueError(f"loss.box 0 leaves model.head.box {head.box} untrained: set it above 0")
        if head.box == "general+dfl" and loss.side == 0:
            raise ValueError("loss.side 0 is model.head.box general+dfl without its dfl: set model.head.box to general")
        if head.box == "gaussian" and loss.side == 0:
            raise ValueError(
                "loss.side 0 leaves the deviations of model.head.box gaussian untrained: set loss.side above 0, or"
                " model.head.box to dirac"
            )
        if head.has_quality_branch and loss.quality == 0:
            raise ValueError(
                f"loss.quality 0 leaves model.head.quality {head.quality} untrained, which multiplies the scores: set"
                " loss.quality above 0, or model.head.quality to none"
            )
        if head.dgqp and loss.classification == "eqfl":
            raise ValueError(
                "loss.classification eqfl needs the logits of the classes alone, model.head.dgqp trains their product"
                " with the quality: set classification to qfl, or dgqp to false"
            )
        if head.box == "deltas" and loss.box_weight != "none":
            raise ValueError(
                f"loss.box_weight {loss.box_weight} is for boxes around grid points, model.head.box deltas has anchors:"
                " set it to none"
            )
        if self.train.teacher is not None and not (self.distill.cls or self.distill.side or self.distill.feature):
            raise ValueError(
                "train.teacher teaches nothing while distill.cls, distill.side and distill.feature are 0: set one of"
                " them above 0, or train.teacher to none"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists, numbers and strings, for YAML, JSON and checkpoints."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


@dataclass(frozen=True)
class About(Bounded):
    """What a recipe says about itself for people. It is not part of `Config`: training and checkpoints ignore it."""

    published_ap: Annotated[float, Ge(0), Le(100)] | None = None
    """percent"""
    source: str = ""
    """data set and publication of `published_ap`"""
