from terramind_weights.catalog import WeightFile, find_generator, published_name


def test_the_catalogue_names_the_published_files():
    base = find_generator("terramind_v1_base")
    assert base.network == WeightFile("TerraMind_v1_base.pt", "ibm-esa-geospatial/TerraMind-1.0-base")
    assert base.tokenizers["NDVI"].filename == "TerraMind_Tokenizer_NDVI.pt"


def test_published_networks_are_known_by_their_sha256():
    tiny = "e56ea9ebcd4451078b9ca4893d5cd8a89bbee376ae16829c3e7fbbbc76de0eba"
    assert published_name(tiny) == "TerraMind_v1_tiny.pt"
    assert published_name(tiny[::-1]) == ""
