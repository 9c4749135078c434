from terramind_weights.catalog import WeightFile, find_generator


def test_the_catalogue_names_the_published_files():
    base = find_generator("terramind_v1_base")
    assert base.network == WeightFile("TerraMind_v1_base.pt", "ibm-esa-geospatial/TerraMind-1.0-base")
    assert base.tokenizers["NDVI"].filename == "TerraMind_Tokenizer_NDVI.pt"
