"""What editors see of models/, which imports a builder when it is first asked for: as in BUILDERS."""
from models.airbench import airbench94 as airbench94, set_whitening as set_whitening
from models.alexnet import alexnet as alexnet, alexnet_owt as alexnet_owt
from models.bags import bag_of_words as bag_of_words, fasttext as fasttext
from models.captioning import (
    Captioner as Captioner,
    show_and_tell as show_and_tell,
    word_detector as word_detector,
)
from models.catalog import catalog as catalog
from models.chrono import ChronoBias as ChronoBias
from models.complexity import complexity as complexity
from models.convnet import (
    fast_convnet as fast_convnet,
    mcdnn_column as mcdnn_column,
    nielsen_convnet as nielsen_convnet,
    normalised_convnet as normalised_convnet,
    simard_convnet as simard_convnet,
)
from models.ctc import beam_search as beam_search, blstm_ctc as blstm_ctc, greedy as greedy
from models.densenet import (
    densenet121 as densenet121,
    densenet161 as densenet161,
    densenet169 as densenet169,
    densenet201 as densenet201,
    densenet264 as densenet264,
    densenet_cifar as densenet_cifar,
)
from models.features import features as features
from models.googlenet import googlenet as googlenet
from models.hoisted_lstm import HoistedLSTM as HoistedLSTM
from models.image_sequence import ImageSequence as ImageSequence
from models.inputs import on_images as on_images
from models.lenet import (
    lenet1 as lenet1,
    lenet5 as lenet5,
    modern_lenet5 as modern_lenet5,
    scaled_tanh as scaled_tanh,
)
from models.mlp import mlp as mlp
from models.multidimensional_lstm import (
    columns_blstm as columns_blstm,
    multidimensional_lstm as multidimensional_lstm,
)
from models.one_shot import prototypical as prototypical, siamese as siamese
from models.perceptron import mcculloch_pitts as mcculloch_pitts, threshold_perceptron as threshold_perceptron
from models.recurrent import (
    continuation as continuation,
    recurrent_classifier as recurrent_classifier,
    recurrent_language_model as recurrent_language_model,
    streaming as streaming,
)
from models.resnet import (
    plain18 as plain18,
    plain34 as plain34,
    plain_cifar as plain_cifar,
    resnet9 as resnet9,
    resnet18 as resnet18,
    resnet34 as resnet34,
    resnet50 as resnet50,
    resnet101 as resnet101,
    resnet152 as resnet152,
    resnet_cifar as resnet_cifar,
)
from models.speech import commands_convnet as commands_convnet, word_convnet as word_convnet
from models.vgg import vgg as vgg, vgg11 as vgg11, vgg13 as vgg13, vgg16 as vgg16, vgg19 as vgg19
from models.weights import (
    decode_predictions as decode_predictions,
    preprocess as preprocess,
    weighted as weighted,
)

BUILDERS: dict[str, tuple[str, ...]]
MODULE_OF: dict[str, str]

def import_all() -> None: ...
