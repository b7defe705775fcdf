"""`kiosk run`: the fullscreen kiosk."""

from __future__ import annotations

import secrets
from typing import Annotated

import typer

from kiosk import __version__
from kiosk.cli.common import ConfigFile, DataDir, complain, say
from kiosk.domain.errors import OperatorError
from kiosk.domain.money import Money, MoneyError
from kiosk.domain.payment import Offer, Order

__all__ = ["run"]


def run(
    camera: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Camera. Default: the configured one.")
    ] = None,
    amount: Annotated[
        str | None, typer.Option(metavar="38.50", help="Offer this amount at once (demo, test, training).")
    ] = None,
    windowed: Annotated[
        bool, typer.Option("--windowed", help="A window instead of the whole screen.")
    ] = False,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Run the kiosk on this screen until it is closed.

    What was open when it last stopped is resolved behind the idle screen. A till opens orders where till.link
    says how (docs/till.md). Where a repository is pinned, the gallery is kept in step with the acquirer's.

    Example: kiosk run --windowed --amount 38.50
    """
    from kiosk.app.front import Front, crash_on_bugs, shop_of
    from kiosk.app.gallery_sync import open_sync
    from kiosk.app.memory import stay_resident
    from kiosk.app.till import open_till, till_desk
    from kiosk.app.wiring import open_base, open_kiosk
    from kiosk.ui.window import application, has_display, run_window

    if not has_display():
        raise OperatorError(
            "there is no display here",
            where="DISPLAY, WAYLAND_DISPLAY",
            do="Start it in a graphical session, or set QT_QPA_PLATFORM (eglfs on a kiosk; offscreen).",
        )
    with open_base(data_dir, config, complain, begins=True) as base:
        order = None
        if amount is not None:
            if base.config.mode == "production":
                raise OperatorError("--amount is for demo, test and training", do="Let the till open orders.")
            try:
                money = Money.parse(amount, base.config.store.currency)
                order = Order(f"K-{secrets.token_hex(6)}", money, base.config.store.payee)
            except (MoneyError, ValueError) as error:
                raise OperatorError(str(error), where="--amount") from None
        crash_on_bugs()
        stay_resident()
        base.note("start", version=__version__, models=base.manifest.fingerprint)
        app = application()
        desk = till_desk(base)
        with open_kiosk(base, camera=camera, till=desk) as kiosk, open_till(base, desk):
            if kiosk.policy_problem:
                left = "the stored one is used" if kiosk.kernel.setting.policy else "nobody pays by face"
                complain(f"the acquirer gave no policy now ({kiosk.policy_problem}); {left}")
            from kiosk.ui.bridge import Bridge

            front = Front(kiosk)
            bridge = Bridge(
                shop_of(base.config, kiosk.kernel.setting.policy),
                front.pressed,
                dark=base.config.screen.theme == "dark",
            )
            desk.join(kiosk.kernel)
            sync = open_sync(kiosk)
            front.start(bridge)
            if sync is not None:
                sync.start()
            if order is not None:
                kiosk.kernel.post(Offer(order))
            try:
                run_window(
                    app,
                    bridge,
                    fullscreen=not windowed,
                    orientation=base.config.screen.orientation,
                    on_ready=lambda: say("kiosk ready"),
                )
            finally:
                if sync is not None:
                    sync.close()
                front.stop()
