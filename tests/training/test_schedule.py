"""How fast a run learns, from its first step to its last."""

from llava_chat.training.schedule import learning_rate_share


def test_the_learning_rate_rises_and_falls() -> None:
    shares = [learning_rate_share(step, 200, 0.03) for step in range(200)]
    assert max(shares) == 1 and shares.index(1) == 5
    assert shares[:6] == sorted(shares[:6]) and shares[6:] == sorted(shares[6:], reverse=True)
    assert 0 < shares[-1] < 0.001
    assert learning_rate_share(0, 1, 0.03) == 1
