"""What was found, of the training or its layers: one at a time, with a button that makes its change."""

from __future__ import annotations

from collections.abc import Iterable

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from ...runs import Finding

_WORDS = {"fault": "Fault", "warning": "Warning", "note": "Note"}
_ORDER = tuple(_WORDS)


class FindingsRow(QWidget):
    """Hidden while there is nothing to say; the worst finding is shown first, the others follow."""

    applied = Signal(object)
    """The `Finding` whose change the user wants."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("findings")
        self.label = QLabel()
        self.label.setObjectName("finding")
        self.label.setWordWrap(True)
        self.label.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self.apply = _button("apply_finding", "Apply")
        self.apply.setToolTip("Write the change into the form")
        self.next = _button("next_finding", "Next")
        self.next.setToolTip("Show what else was found")
        self.dismiss = _button("dismiss_finding", "Dismiss")
        self.dismiss.setToolTip("Take this finding from the list and change nothing")
        self.apply.clicked.connect(self._apply)
        self.next.clicked.connect(self._go_on)
        self.dismiss.clicked.connect(self._drop)
        buttons = QHBoxLayout()
        buttons.setSpacing(4)
        buttons.addStretch(1)
        for button in (self.apply, self.next, self.dismiss):
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.label)
        layout.addLayout(buttons)
        self._findings: list[Finding] = []
        self._place = 0
        self._show()

    def value(self) -> tuple[Finding, ...]:
        """Return what is listed, the worst first."""
        return tuple(self._findings)

    def set_value(self, findings: Iterable[Finding]) -> None:
        """List findings in the place of what was listed."""
        self._findings = sorted(findings, key=lambda finding: _ORDER.index(finding.severity))
        self._place = 0
        self._show()

    def add(self, finding: Finding) -> None:
        """Show another finding at once; the others stay in the list."""
        if finding not in self._findings:
            self._findings.append(finding)
        self._place = self._findings.index(finding)
        self._show()

    def _show(self) -> None:
        self.setVisible(bool(self._findings))
        if not self._findings:
            return
        finding, count = self._findings[self._place], len(self._findings)
        number = f" {self._place + 1} of {count}" if count > 1 else ""
        self.label.setText(f"{_WORDS[finding.severity]}{number}: {finding.sentence}")
        self.apply.setVisible(bool(finding.remedy))
        changes = ", ".join(f"{key} = {value}" for key, value in finding.remedy.items())
        self.apply.setToolTip(f"Write the change into the form: {changes}")
        self.next.setVisible(count > 1)

    def _go_on(self) -> None:
        self._place = (self._place + 1) % len(self._findings)
        self._show()

    def _apply(self) -> None:
        finding = self._findings[self._place]
        self._drop()
        self.applied.emit(finding)

    def _drop(self) -> None:
        del self._findings[self._place]
        self._place = min(self._place, max(0, len(self._findings) - 1))
        self._show()


def _button(name: str, text: str) -> QPushButton:
    button = QPushButton(text)
    button.setObjectName(name)
    button.setAccessibleName(f"{text} finding")
    return button
