"""Small real detection sets: COCO JSON and the images in an uncompressed zip."""

from mixtura.datasets.catalogue.shorthand import ask_for_copy, exact
from mixtura.datasets.records import Dataset

__all__ = ["DATASETS"]

DATASETS = (
    Dataset(
        name="chess",
        domain="detection",
        description=(
            "Chess pieces, 12 colour-and-piece classes: 202 / 58 / 29 images, 640 pixels on the "
            "long side"
        ),
        licence="public domain",
        citation="Roboflow, Chess Pieces (raw, version 23); part of ODinW-35",
        origin="repository jsansao/ChessPiecesv23",
        preparation=(
            "images scaled from 2048x1371 to 640 pixels (JPEG quality 88), boxes scaled with them, "
            'one box of the stray class "bishop" left out; the original split kept'
        ),
        files=(
            exact(
                "chess/images.zip",
                16236410,
                "29f45e326cd4d8e29a8afbcab214873839c499c2ae026a39ffe371dbabad5ba8",
            ),
            exact(
                "chess/test.json",
                45548,
                "eaff478b776b4db99288f1b2ffef52b4cb60f884ca641c722591268c69ff78b2",
            ),
            exact(
                "chess/train.json",
                261211,
                "6fa93dfcf0790b3a5c958cb469ae10d17cafd69aa337202c01fdcbcfda16a3ea",
            ),
            exact(
                "chess/val.json",
                52776,
                "3e90b3bf6470efd6ab3d1e8e08b45678784ac7a71d942a14bb0d4590f256b6fe",
            ),
        ),
        obtain=ask_for_copy("detection", "repository jsansao/ChessPiecesv23"),
    ),
    Dataset(
        name="bccd",
        domain="detection",
        description=(
            "Blood cells, 3 classes (platelets, red, white): 205 / 87 / 72 images of 640x480"
        ),
        licence="MIT",
        citation="Shenggan: BCCD Dataset; images and first annotations by cosmicad and akshaylamba",
        origin="repository Shenggan/BCCD_Dataset",
        preparation=(
            "image bytes unchanged; boxes of the XML files as COCO JSON, clipped to the image, two "
            "boxes thinner than one pixel left out; split of ImageSets/Main"
        ),
        files=(
            exact(
                "bccd/images.zip",
                7617639,
                "c39bfc35a923b908a3a5890b9b5120914f70778e35cabcddf12bebb0ece132e7",
            ),
            exact(
                "bccd/test.json",
                99334,
                "c8c024a528f47bbe536bbdeec0f561719554e1aa47dded918d946ecfa80a5c1f",
            ),
            exact(
                "bccd/train.json",
                295961,
                "7b48868ed118fcbb15b1d63e57b8051d5daa58710cec6ce772de1a0dd461983e",
            ),
            exact(
                "bccd/val.json",
                119841,
                "155cb0aafc759d64306663f3b5306753252daed124c6adc6254b1dd18f2b75a5",
            ),
        ),
        obtain=ask_for_copy("detection", "repository Shenggan/BCCD_Dataset"),
    ),
    Dataset(
        name="coco_mini",
        domain="detection",
        description=(
            "53 COCO photographs that may be redistributed, 80 classes: for loaders, prompts and "
            "speed, too few to measure AP"
        ),
        licence=(
            "images CC BY 2.0, CC BY-SA 2.0 or no known restriction (each named in its entry); "
            "annotations CC BY 4.0"
        ),
        citation=(
            "Lin et al.: Microsoft COCO: Common Objects in Context, ECCV 2014, arXiv 1405.0312"
        ),
        origin="repository lightly-ai/coco128_yolo",
        preparation=(
            "images with a licence that allows it; YOLO labels as COCO JSON with category ids "
            "1..90 restored; image bytes unchanged"
        ),
        files=(
            exact(
                "coco_mini/images.zip",
                8972092,
                "832af2041599f460c94d79bb7099f0ca47d39596b17421c57e5dce58858aa8d2",
            ),
            exact(
                "coco_mini/train2017.json",
                27495,
                "ab25c660c320dec2776a8ed9d8df4f12010d521ce015814a0675a9d241f44006",
            ),
            exact(
                "coco_mini/val2017.json",
                27087,
                "cb985ec9d46fa9262efa198a9f1f9da82bd5a5be0080252a5d88606ecec5cdc0",
            ),
        ),
        obtain=ask_for_copy("detection", "repository lightly-ai/coco128_yolo"),
    ),
    Dataset(
        name="lvis_v1_categories",
        domain="detection",
        description=(
            "Names, synonyms, frequency class and definition of the 1203 categories of LVIS v1"
        ),
        licence="CC BY 4.0 (LVIS v1), Apache-2.0 (the tables)",
        citation=(
            "Gupta, Dollar, Girshick: LVIS: A Dataset for Large Vocabulary Instance Segmentation, "
            "CVPR 2019, arXiv 1908.03195"
        ),
        origin="category tables of repository facebookresearch/detectron2",
        preparation=(
            "one CSV with id, name, synonyms, frequency, train_image_count, synset, definition"
        ),
        files=(
            exact(
                "lvis_v1_categories.csv.gz",
                48915,
                "82272db81cdfc0ff627b8d876a6b1a7e5a7efc600dd6d046945d5398c3d2a0a4",
            ),
        ),
        aliases=("lvis",),
        obtain=ask_for_copy("detection", "repository facebookresearch/detectron2"),
    ),
)
