"""No two classes share a color, nor come near one, also for readers who see red and green alike."""

import numpy as np
import pytest

from augment_store.modalities.class_colors import class_colors, distances, lab

LISTS = {
    "sen1floods11": "land;water",
    "worldcover": "Tree cover;Shrubland;Grassland;Cropland;Built-up;Bare / sparse vegetation;Snow and ice;"
    "Permanent water bodies;Herbaceous wetland;Mangroves;Moss and lichen",
    "dynamic world": "water;trees;grass;flooded_vegetation;crops;shrub_and_scrub;built;bare;snow_and_ice",
    "pastis": "Background;Meadow;Soft winter wheat;Corn;Winter barley;Winter rapeseed;Spring barley;Sunflower;"
    "Grapevine;Beet;Winter triticale;Winter durum wheat;Fruits, vegetables, flowers;Potatoes;Leguminous fodder;"
    "Soybeans;Orchard;Mixed cereal;Sorghum",
    "nlcd": "Open Water;Perennial Ice/Snow;Developed, Open Space;Developed, Low Intensity;"
    "Developed, Medium Intensity;Developed, High Intensity;Barren Land;Deciduous Forest;Evergreen Forest;"
    "Mixed Forest;Dwarf Scrub;Shrub/Scrub;Grassland/Herbaceous;Sedge/Herbaceous;Lichens;Moss;Pasture/Hay;"
    "Cultivated Crops;Woody Wetlands;Emergent Herbaceous Wetlands",
    "corine": "Continuous urban fabric;Discontinuous urban fabric;Industrial or commercial units;"
    "Road and rail networks;Port areas;Airports;Mineral extraction sites;Dump sites;Construction sites;"
    "Green urban areas;Sport and leisure facilities;Non-irrigated arable land;Permanently irrigated land;"
    "Rice fields;Vineyards;Fruit trees and berry plantations;Olive groves;Pastures;Annual crops;"
    "Complex cultivation patterns;Agriculture with natural vegetation;Agro-forestry areas;Broad-leaved forest;"
    "Coniferous forest;Mixed forest;Natural grasslands;Moors and heathland;Sclerophyllous vegetation;"
    "Transitional woodland-shrub;Beaches, dunes, sands;Bare rocks;Sparsely vegetated areas;Burnt areas;"
    "Glaciers and perpetual snow;Inland marshes;Peat bogs;Salt marshes;Salines;Intertidal flats;Water courses;"
    "Water bodies;Coastal lagoons;Estuaries;Sea and ocean",
    "random": ";".join(np.random.default_rng(0).choice(list("abcdefghij"), (25, 6)).view("<U6").ravel()),
    "alike": "forest;woodland;trees;timber",
}


@pytest.mark.parametrize("name", LISTS)
def test_classes_lie_apart_for_every_reader(name):
    names = LISTS[name].split(";")
    colors = class_colors(names)
    between = distances(colors, colors)[~np.eye(len(names), dtype=bool)]
    # a just noticeable difference is about 2.3; 25 or 44 classes cannot lie as far apart as 20
    assert between.min() >= (10 if len(names) > 20 else 16)
    assert class_colors(names) == colors


@pytest.mark.parametrize("name", LISTS)
def test_green_stays_green_and_water_blue(name):
    names = LISTS[name].split(";")
    for word, channel in (("water bodies", 2), ("Tree cover", 1), ("Open Water", 2)):
        for label in (label for label, entry in enumerate(names) if entry == word and name != "corine"):
            color = class_colors(names)[label]
            assert color[channel] == max(color)


def test_lab_by_hand():
    """White is (100, 0, 0), black the origin; pure red (53.2, 80.1, 67.2), which a protanope sees much darker."""
    normal, protan, _ = lab(np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0]], float))
    assert normal[0] == pytest.approx([100, 0, 0], abs=0.1)
    assert normal[1] == pytest.approx([0, 0, 0], abs=0.1)
    assert normal[2] == pytest.approx([53.2, 80.1, 67.2], abs=0.3)
    assert protan[2, 0] < 45


def test_red_and_green_of_one_lightness_are_near_for_a_deuteranope():
    red, green = (200, 90, 60), (130, 130, 40)
    normal, _, deutan = lab(np.array([red, green], float))
    assert np.linalg.norm(normal[0] - normal[1]) > 40
    assert np.linalg.norm(deutan[0] - deutan[1]) < 20
    assert distances([red], [green])[0, 0] < 20


def test_hundreds_of_classes_are_no_error():
    assert len(class_colors([f"class {number}" for number in range(900)])) == 900
