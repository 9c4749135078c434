import logging
import warnings

import pytest

from augment_store.utils.log_filters import filter_warnings


def test_only_what_was_handed_in_is_silenced():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        filter_warnings([".*many workers.*"], ["tests.noisy"])
        warnings.warn("does not have many workers", stacklevel=1)
        with pytest.raises(UserWarning, match="something else"):
            warnings.warn("something else", stacklevel=1)
    assert not logging.getLogger("tests.noisy").isEnabledFor(logging.INFO)
    assert logging.getLogger("tests.noisy").isEnabledFor(logging.WARNING)
