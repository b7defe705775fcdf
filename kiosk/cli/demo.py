"""`kiosk demo`: the whole path once, for real: an acquirer in its own process, the screen, real pictures.

Five sales, the presses made by the demo: a payment, another way to pay, a stranger, a printed photograph
and a photograph on a screen. Everything else is the product as it is: no case is treated specially.
"""

from __future__ import annotations

import os
import queue
import secrets
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from kiosk.assets import assets_dir
from kiosk.cli.common import complain, say
from kiosk.cli.processes import command, running_sandbox
from kiosk.domain.decision import Reason
from kiosk.domain.errors import OperatorError
from kiosk.domain.money import Money
from kiosk.domain.payment import (
    Approved,
    Identified,
    Idle,
    Looking,
    Offer,
    Offered,
    Order,
    OtherMeans,
    Refused,
    State,
)

if TYPE_CHECKING:
    from kiosk.app.front import Front
    from kiosk.app.wiring import Base, Kiosk
    from kiosk.ui.bridge import Bridge

__all__ = ["demo"]

PICTURES: Final = assets_dir() / "demo"
PAYERS: Final = (
    ("pyr-7f3k9q2m", "Sample One", "6222 0202 0011 2233", "4821"),
    ("pyr-b84xw1dz", "Sample Two", "6222 0202 0044 5566", "9077"),
)
"""Tokens of `assets/demo/enrol`; the names, accounts and digits are made up."""
PATIENCE_S: Final = 45.0
SEED: Final = 17


@dataclass(frozen=True, slots=True)
class Sale:
    """One scene: what is held before the camera, what is pressed, how it has to end."""

    title: str
    picture: Path
    amount: str
    another_way: bool
    ends: type[State]
    reasons: tuple[Reason, ...] = ()


def demo(
    headless: Annotated[
        bool, typer.Option("--headless", help="No window, even where there is a display.")
    ] = False,
    keep: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep the data folder here.")] = None,
) -> None:
    """Show the main job from end to end on this machine: about ten seconds without a display.

    Starts a sandbox acquirer, enrols two sample payers, and runs five sales on the kiosk's own screen.
    """
    display = not headless and bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    if not display:
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
        os.environ.setdefault("QT_QUICK_BACKEND", "software")
    folder = keep or Path(tempfile.mkdtemp(prefix="kiosk-demo-"))
    started = time.monotonic()
    try:
        with running_sandbox(folder, "--tls") as address:
            say(f"sandbox acquirer at {address} (a process of its own: mutual TLS 1.3, every message signed)")
            _enrol(folder)
            _sell(folder, paced=display)
            _ledger(folder)
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    say(f"demo finished in {time.monotonic() - started:.1f} s")


def _enrol(folder: Path) -> None:
    from kiosk.cli.enrol import enrol

    for token, name, account, digits in PAYERS:
        enrol(
            camera=str(PICTURES / "enrol" / token),
            payer=token,
            name=name,
            account=account,
            digits=digits,
            data_dir=folder,
        )


def _sales(folder: Path) -> tuple[Sale, ...]:
    """The scenes; the two attacks are recaptured from the very picture that pays in the first one."""
    import cv2

    from kiosk.devices.camera_file import read_image
    from kiosk.sandbox.recapture import as_print, as_screen

    payer = PICTURES / "probe" / f"{PAYERS[0][0]}.jpg"
    rgb = read_image(payer)
    attacks = {}
    for name, recapture in (("print", as_print), ("screen", as_screen)):
        attacks[name] = folder / f"{name}.png"
        cv2.imwrite(str(attacks[name]), cv2.cvtColor(recapture(rgb, SEED), cv2.COLOR_RGB2BGR))
    stranger = PICTURES / "probe" / "stranger.jpg"
    refused = (Reason.ATTACK_SUSPECTED,)
    return (
        Sale("an enrolled payer pays", payer, "38.50", another_way=False, ends=Approved),
        Sale("another way to pay", payer, "12.00", another_way=True, ends=OtherMeans),
        Sale("a stranger", stranger, "38.50", False, Refused, (Reason.NOT_RECOGNISED,)),
        Sale("a printed photograph of the payer", attacks["print"], "38.50", False, Refused, refused),
        Sale("a photograph of the payer on a screen", attacks["screen"], "38.50", False, Refused, refused),
    )


def _sell(folder: Path, *, paced: bool) -> None:
    """Open the kiosk's screen and play the sales on it; the Qt loop runs here, the player in a thread."""
    import threading

    from kiosk.app.front import Front, crash_on_bugs, shop_of
    from kiosk.app.wiring import open_base, open_kiosk
    from kiosk.ui.bridge import GUARD_MS, Bridge
    from kiosk.ui.window import application, run_window

    crash_on_bugs()
    app = application()
    sales = _sales(folder)
    failures: list[Exception] = []
    with (
        open_base(folder, None, complain, begins=True) as base,
        open_kiosk(base, camera=str(sales[0].picture)) as kiosk,
    ):
        front = Front(kiosk)
        guard_ms = GUARD_MS if paced else 0  # without a display nobody presses too soon
        shop = shop_of(base.config, kiosk.kernel.setting.policy)
        bridge = Bridge(shop, front.pressed, guard_ms=guard_ms)
        player = _Player(front, bridge, base, kiosk, pace_s=1.5 if paced else 0.0)
        front.start(bridge)
        player.listen()

        def play() -> None:
            try:
                for sale in sales:
                    player.play(sale)
            except OperatorError as error:
                failures.append(error)
            finally:
                bridge.quit()

        thread = threading.Thread(target=play, name="demo", daemon=True)
        thread.start()
        run_window(app, bridge, fullscreen=False, orientation=base.config.screen.orientation)
        thread.join(PATIENCE_S)
        front.stop()
    if failures:
        raise failures[0]


class _Player:
    """Presses the buttons that a person would, when the screen that has them is there."""

    def __init__(self, front: Front, bridge: Bridge, base: Base, kiosk: Kiosk, *, pace_s: float) -> None:
        self._front, self._bridge, self._base, self._kiosk, self._pace_s = front, bridge, base, kiosk, pace_s
        self._states: queue.SimpleQueue[State] = queue.SimpleQueue()

    def listen(self) -> None:
        """Hear of every state that the screen shows."""
        show = self._kiosk.kernel.on_state

        def heard(state: State) -> None:
            show(state)
            self._states.put(state)

        self._kiosk.kernel.on_state = heard

    def play(self, sale: Sale) -> None:
        """One sale, from the offer to the idle screen. OperatorError when it ends otherwise than it must."""
        say(f"\n== {sale.title} ==")
        self._kiosk.looker.open_source = lambda: self._base.cameras.open_source(str(sale.picture))
        store = self._base.config.store
        order = Order(f"DEMO-{secrets.token_hex(4)}", Money.parse(sale.amount, store.currency), store.payee)
        self._kiosk.kernel.post(Offer(order))
        self._until(Offered)
        self._press("pay_another_way" if sale.another_way else "pay_with_face")
        end = self._end(sale)
        if not isinstance(end, sale.ends) or (
            sale.reasons and getattr(end, "reason", None) not in sale.reasons
        ):
            raise OperatorError(f"the demo expected {sale.ends.__name__}, the kiosk came to {_told(end)}")
        if isinstance(end, Approved) and self._kiosk.kernel.last_receipt is not None:
            from kiosk.domain.receipt import render

            say(render(self._kiosk.kernel.last_receipt))
        self._press({Approved: "receipt_none", Refused: "cancel"}.get(type(end), "done"))
        self._until(Idle)

    def _end(self, sale: Sale) -> State:
        while True:
            state = self._next()
            if isinstance(state, Identified):
                self._press("confirm")
            elif isinstance(state, Approved | Refused | OtherMeans | Idle) or type(state) is sale.ends:
                return state

    def _until(self, kind: type[State]) -> None:
        while not isinstance(self._next(), kind):
            pass

    def _next(self) -> State:
        try:
            state = self._states.get(timeout=PATIENCE_S)
        except queue.Empty:
            raise OperatorError("the demo waited for the kiosk in vain") from None
        say(_told(state) if isinstance(state, Approved) else f"  {_told(state)}")
        if not isinstance(state, Looking):
            time.sleep(self._pace_s)
        return state

    def _press(self, button: str) -> None:
        """A press on the screen, on its own thread."""
        self._bridge.press_soon(button)


def _told(state: State) -> str:
    """A state as one line."""
    match state:
        case Approved(order=order, answer=answer):
            return f"APPROVED {order.amount} approval {answer.approval}"
        case Identified(payer=payer):
            return f"confirm: {payer.masked_name}, {payer.masked_account}"
        case Refused():
            return f"refused: {state.reason.replace('_', ' ')}"
        case Offered(order=order):
            return f"offer {order.amount} to {order.payee}"
        case OtherMeans(means=means):
            return f"another way: handed to {means}"
        case _:
            return type(state).__name__.lower()


def _ledger(folder: Path) -> None:
    """What the acquirer's books say."""
    say("\nthe sandbox's ledger:")
    ledger = command("sandbox", "ledger", "--data-dir", folder)
    say(subprocess.run(ledger, check=True, capture_output=True, text=True).stdout.rstrip())
