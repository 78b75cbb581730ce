"""Cards of the sources (`engine.sources.SOURCES`). A benchmark is a source too, and takes its card from here."""

from __future__ import annotations

from engine.catalogue.cards import Card

YOURS = "not known to the engine: ask the owner"

CARDS: dict[str, Card] = {
    "sample": Card(
        "the drawn world's sample, in VLGuard's layout", "this project (engine/tiny)", "Apache-2.0: drawn by the engine"
    ),
    "vlguard": Card(
        "unsafe pictures, unsafe and safe questions, with reference answers",
        "VLGuard, arXiv 2402.02207; Hub ys-zong/VLGuard",
        "gated on the Hub (ys-zong/VLGuard): access is granted person by person; its pictures come from five sets with "
        "terms of their own",
        "yes",
        "HF_TOKEN of an account with access, or --path DIR with train.json or test.json and the pictures",
    ),
    "parquet": Card(
        "Parquet files with a picture column",
        "your own, or any such set of the Hub",
        YOURS,
        "no",
        "--path FILE, folder, glob or Hub id",
    ),
    "folder": Card(
        "pictures beside queries.jsonl or queries.csv",
        "your own",
        YOURS,
        "no",
        "--path DIR with the index and the pictures",
    ),
    "mm_safetybench": Card(
        "harmful questions in 13 scenarios, with three pictures each or none",
        "MM-SafetyBench, arXiv 2311.17600; github.com/isXinLiu/MM-SafetyBench, Hub PKU-Alignment/MM-SafetyBench",
        "CC-BY-NC-4.0",
        needs="--path DIR with processed_questions and imgs, or --path PKU-Alignment/MM-SafetyBench",
    ),
    "vlsafe": Card(
        "harmful questions over ordinary photographs",
        "VLSafe (DRESS), arXiv 2311.10081; Hub YangyiYY/LVLM_NLF; pictures of COCO train2017",
        "texts on pictures of COCO",
        needs="--path DIR with harmlessness_examine.jsonl and train2017/",
    ),
    "figstep": Card(
        "a harmful list as words in a picture, one harmless-looking question for all",
        "FigStep, arXiv 2311.05608; github.com/ThuCCSLab/FigStep",
        "MIT",
        needs="--path DIR of the repository, with its pictures",
    ),
    "mossbench": Card(
        "harmless questions that look alarming",
        "MOSSBench, arXiv 2406.17806; Hub AIcell/MOSSBench",
        "CC-BY-4.0",
        needs="--path DIR with information.json and its pictures, or --path AIcell/MOSSBench",
    ),
    "mme": Card(
        "two yes/no questions on each picture, 14 tasks",
        "MME, arXiv 2306.13394; the authors' release, Hub lmms-lab/MME",
        "free for research",
        needs="--path DIR of the release, or --path lmms-lab/MME",
    ),
    "mmbench": Card(
        "multiple choice, with rotated options",
        "MMBench, arXiv 2307.06281; github.com/open-compass/MMBench, Hub lmms-lab/MMBench",
        "Apache-2.0",
        needs="--path mmbench_dev_20230712.tsv (pictures inside), or --path lmms-lab/MMBench",
    ),
    "mmvet": Card(
        "open questions that need several of six capabilities",
        "MM-Vet, arXiv 2308.02490; github.com/yuweihao/MM-Vet, Hub lmms-lab/MMVet",
        "CC-BY-NC-4.0",
        needs="--path DIR with mm-vet.json and images/, or --path lmms-lab/MMVet",
    ),
    "mllmguard": Card(
        "privacy, bias, toxicity, legality, hallucination, noisy and swapped pictures, in English and Chinese",
        "MLLMGuard, arXiv 2406.07594; Hub Carol0110/MLLMGuard",
        "CC-BY-NC-SA-4.0",
        needs="--path DIR with privacy/prompt.csv, privacy/imgs/ and so on",
    ),
}
